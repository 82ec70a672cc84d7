"""Weight distillation's parameter generator (Lin et al. 2021, section 3)."""
