"""Statistics on plain arrays: intervals, tests, calibration, OOD scores, linear probes."""
