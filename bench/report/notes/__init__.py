"""What there is to say beside a table."""
