"""Two runs compared: the same corpus through two models, such as before and after tuning."""
