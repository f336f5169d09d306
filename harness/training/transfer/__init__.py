"""Transfer through data: does a student acquire a trait from games in which the trait cannot show?"""
