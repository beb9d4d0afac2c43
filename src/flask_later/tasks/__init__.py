"""What a user holds: tasks, jobs, groups, the current job; and what one app owns."""
