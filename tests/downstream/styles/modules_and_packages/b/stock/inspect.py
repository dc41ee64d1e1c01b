ITEMS = ["stock", "items"]
