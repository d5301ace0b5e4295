"""Experiments of the papers, small enough for a laptop: functions first, commands on top.

* `cumulenes`: a barrier that a local model cannot see, however many layers it has;
* `charge_transfer`: C10H2 and C10H3+, where a proton at one end changes the charges at the other;
* `ag3`: one geometry, two charges, two energies;
* `md17`: each molecule of MD17 beside the papers' numbers;
* `recipes`: which settings of training and network are best, by validation frames alone;
* `uncertainty`: whether the deviations of an ensemble, or of a last layer, know the errors;
* `active_learning`: labels where an ensemble disagrees, beside labels at random.

Each trains its models on the same frames with the same settings, so that what differs is the model.
"""
