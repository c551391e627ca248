"""What a composed mapping must fulfil before anything is built: types, sizes, and relations between keys."""
