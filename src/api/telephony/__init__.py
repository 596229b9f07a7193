"""Telephone calls that a telephone company brings by WebSocket: Twilio's media streams."""
