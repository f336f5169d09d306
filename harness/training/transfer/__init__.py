"""Transfer through data: does a student take on a trait from games in which it has no occasion?"""
