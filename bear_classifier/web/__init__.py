"""What every web application here needs: host names, sockets, strict JSON."""
