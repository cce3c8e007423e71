"""PostgreSQL's frontend/backend protocol, versions 3.0 and 3.2, as pure functions.

Follows the chapter "Frontend/Backend Protocol" of PostgreSQL's documentation.
No sockets, no state of a session.
"""
