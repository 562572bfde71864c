"""`baton doctor` and `baton debug-info`: what is wrong here, why that matters, and the one command that cures it.

Looks from outside, as a person with a shell would: at files, ports, the server's own API and the bridge's page. It
changes nothing but one probe of the database, which the server makes. It never tells a token or anybody's content.
"""
