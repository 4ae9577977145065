"""Two runs beside each other: the same corpus through two models, before and after tuning say."""
