"""WebShop's rules, pages, reward and files without Java, and generated shops with hidden conventions."""
