"""`howdah demo`: PostgreSQL with a sample shop, Howdah in front of it, a comparison.

Blocking code on purpose: it is a script that starts two servers as child
processes and talks to them through an ordinary driver, as an application would.
"""
