"""What is read: tables, how their values are written, what a model can rely on, and who may see which row."""
