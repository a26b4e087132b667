"""The catalog of photos: rows, locks, backups, decisions and where photos come from."""
