"""`make mutate`: change the code on purpose, and see which test notices."""
