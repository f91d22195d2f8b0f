"""Under which names tests record what was survived; the summary counts them."""

KILLS, SPOILED, OTHERS = "kill survived", "spoiled input", "fault survived"
GOALS = {KILLS: 30, SPOILED: 300}
