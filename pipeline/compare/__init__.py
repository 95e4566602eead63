"""Two generations asked the same questions: which are asked, what each answers, and which of the two is right more often."""
