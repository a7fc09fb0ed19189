"""The MAE speedrun: rules in README.md, records, and the table that is made of their runs."""
