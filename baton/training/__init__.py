"""What trains: a table checked, candidates prepared, cross-validated and compared."""
