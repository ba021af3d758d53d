"""The user's VAEs: models folders, names, downloads from the Hub and uploads."""
