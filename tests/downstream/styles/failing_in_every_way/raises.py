def load():
    raise RuntimeError("the warehouse's host is not set")


load()
