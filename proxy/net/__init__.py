"""The shell: sockets, TLS, clocks. It moves bytes; `proxy.session` decides about them."""
