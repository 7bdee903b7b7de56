"""How one field of one row is made from what it needs."""
