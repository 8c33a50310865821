"""Running a recipe: its data, stages and trainings, and what it leaves."""
