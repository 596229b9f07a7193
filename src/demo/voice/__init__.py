"""The demonstration with voices: a real LiveKit, two servers, three bots and two people in a room.

It owns those people, who speak and hear tones, and judges by what they heard and by what the API
shows; it never looks into a server. Importing it loads LiveKit's libraries. Start reading at
`show.perform`.
"""
