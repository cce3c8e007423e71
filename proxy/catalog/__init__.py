"""What the database knows about names: relations, functions, types, who touches what."""
