"""The slots that methods are composed of: teachers, align, selection, sharpen, views, losses, schedules."""
