"""The one gate between this program and the web: what may be fetched, how much, how often, and as whom.

`addresses` reads a URL and says whether it may be fetched, `connections` connects to the very address
that was checked, and `gate` fetches: redirects step by step, within a size and a time, keeping a host's
Retry-After. No user names, no netrc, no proxies of the environment, no cookies.
"""
