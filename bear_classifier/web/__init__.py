"""What every web application here needs: addresses, and the common parts of request guards."""
