"""What the scripts are made of. Each file in scripts/ is the command; its work is done here."""
