"""What Howdah knows of its clients: pure logic, bytes in and bytes out.

`engine.py` is what all sessions share; `core.py` is one session, a dispatcher;
`requests.py` and `extended.py` hold what the client's side does, `express.py` its
short cuts, `replies.py` the server's side.
"""
