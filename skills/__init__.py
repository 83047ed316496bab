"""The skill bank: SKILL.md files, their embedding and index, retrieval strategies and the skill block."""
