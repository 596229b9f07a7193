"""LiveKit as the HTTP API knows it. What imports its library is loaded only if it is configured."""
