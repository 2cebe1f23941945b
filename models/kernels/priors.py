"""Priors of the features: what they are shrunk towards, and how strongly; for both implementations."""

from __future__ import annotations

from typing import Final

# AUC at 20-60 % of the time, on MIND and on DeskDrop, with weights fitted to each setting:
# rho = 1:   kappa 5: 0.6424, 0.8756; 10: 0.6426, 0.8738; 20: 0.6441, 0.8713
# rho = 2.5: kappa 5: 0.6423, 0.8777; 10: 0.6445, 0.8761; 20: 0.6421, 0.8738
# The differences are small: an interval is 0.01 wide.
PRIOR_IMPRESSIONS: Final = 10.0
"""Kappa: the weight of the prior rate, in impressions of the candidate."""
PRIOR_LIFT: Final = 2.5
"""Rho: the prior rate of a candidate over the global rate."""
PRIOR_EXPECTED: Final = 2.0
"""Clicks at the expected rate that are added for a lift; of 0.5, 1 and 2 the best on both logs."""
TREND_PRIOR: Final = 0.05
"""Clicks per hour that are added for a trend."""

GLOBAL_PRIOR_CLICKS: Final = 1.0
GLOBAL_PRIOR_IMPRESSIONS: Final = 20.0
"""Prior of the global rate: 5 %, with the weight of 20 impressions."""

AFFINITY_HALF_LIFE_S: Final = 7 * 86_400.0
AFFINITY_PRIOR_CLICKS: Final = 3.0
"""Weight of everybody's shares of categories, in clicks of the user."""
CO_CLICK_PRIOR_CLICKS: Final = 5.0
"""Clicks added to each article's, so that one shared click of two rare articles is weak evidence."""
