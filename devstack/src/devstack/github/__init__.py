"""A stand-in for the three GitHub endpoints that reading stargazers takes.

`server` answers requests as api.github.com does, `shapes` has the JSON of its answers,
`stars` has the stars: from a CSV file, or made up from a seed, without end. `quiet` has the hours
in which none are made up.
"""
