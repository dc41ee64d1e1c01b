"""May a release of a location be served, and how does it take the place of the one that is?

`gate` judges it by what all locations have published. `handover` puts it in the place of the code
server's and the workers' present release, all or nothing.
"""
