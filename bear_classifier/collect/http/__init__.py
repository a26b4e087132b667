"""Photos from web addresses: a guarded client, robots.txt, rate limits, many downloads at once."""
