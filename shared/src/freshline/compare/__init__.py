"""What differs between two contracts of a location, and does it break a reader?"""
