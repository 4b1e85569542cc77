//! Which detectors have seen enough of a source to judge it.

use super::Engine;
use crate::detect::{Answer, burst, rate, silence, span};
use crate::found::{Detector, Readiness};
use crate::past::{Past, Reader};
use crate::window::{Series, SourceId, WINDOW_SECONDS};

impl Engine {
    /// Returns whether the detectors judge the source as a whole.
    ///
    /// # Errors
    /// The past's.
    pub fn readiness<P: Past>(&self, past: &P, id: SourceId) -> Result<Vec<(Detector, Readiness)>, P::Error> {
        let Some(source) = self.sources.get(&id) else { return Ok(Vec::new()) };
        let (window, all, first) = (self.judged, Series::all(id), source.first);
        let of = |answer: Answer| match answer {
            Answer::Tested(_) => Readiness::Ready,
            Answer::NotEnoughHistory(why) => Readiness::NotEnoughHistory(why),
        };
        let mut left = self.left.clone();
        self.ledger.odd(&mut left);
        let mut states = Vec::new();
        for detector in [Detector::NewPattern, Detector::Rate, Detector::Silence, Detector::Burst, Detector::ErrorRatio] {
            let mut reader = Reader::new(past, &left, all, first);
            let settings = &self.settings;
            let state = match detector {
                _ if !self.looks_at(detector, all) => Readiness::Off("switched off, or ignored for this source".to_owned()),
                Detector::NewPattern | Detector::FormatChanged => {
                    let (age, least) = (window.0.saturating_sub(first.0) * WINDOW_SECONDS, settings.new_pattern.warm_up.as_secs());
                    if source.crowded {
                        Readiness::Off("it has more patterns than log_analysis.max_patterns".to_owned())
                    } else if age < least {
                        Readiness::NotEnoughHistory(format!("counted for {}, of {}", span(age), span(least)))
                    } else {
                        Readiness::Ready
                    }
                }
                Detector::Rate => of(rate::judge(&mut reader, first, window, &settings.rate)?),
                Detector::Silence if !Self::is_on_time(source) => {
                    Readiness::NotEnoughHistory("its records arrive too late to tell in time".to_owned())
                }
                Detector::Silence => {
                    // As if it had stopped just long enough ago to be judged.
                    let gap = settings.silence.min_gap.as_secs().div_ceil(WINDOW_SECONDS);
                    of(silence::judge(&mut reader, first, window.back(gap), window, &settings.silence)?)
                }
                Detector::Burst => of(burst::judge(&mut reader, first, window, &settings.burst, &settings.rate)?),
                Detector::ErrorRatio => {
                    let age = window.0.saturating_sub(first.0) * WINDOW_SECONDS;
                    let least = settings.rate.min_history.as_secs().min(7 * 86_400);
                    if age < least {
                        Readiness::NotEnoughHistory(format!("counted for {}, of {}", span(age), span(least)))
                    } else {
                        Readiness::Ready
                    }
                }
            };
            states.push((detector, state));
        }
        Ok(states)
    }
}
