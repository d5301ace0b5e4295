"""What is made for the site alone: lessons, formulas, the reference, explorers, the last check."""
