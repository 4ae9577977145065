"""What the commands print in the terminal, most in the module of the command's name."""
