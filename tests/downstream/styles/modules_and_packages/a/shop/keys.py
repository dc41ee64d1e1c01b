ORDERS = ["shop", "orders"]
