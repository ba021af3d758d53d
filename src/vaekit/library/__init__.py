"""The VAEs a person has: folders of files, the names in them, what the Hub can add."""
