"""A stand-in for the part of GitHub that reading stargazers takes."""
