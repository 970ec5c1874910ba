#!/usr/bin/python3
"""Learns afis/match/model.h from pairs that `observe pairs` wrote.

    model.py model.h PLAIN... [+ DISTORTED...]

Logistic regressions on the features of aligned pairs, mated pairs of one finger against pairs of
different fingers of one set, both kinds weighted alike: one for pairs of which a side reports the
quality of minutiae, one for the others. Then calibrations of log-odds to dB on the impostors of the
PLAIN files, for pairs of which none, one or both sides lack qualities: without them the same
log-odds are reached by chance more often. Other vendors' records
join each calibration, because a sensor that is not in the sets is not the best of them. Files after
+ only teach. Prints what is reached with each set held out of both steps, and how well the
calibration predicts the held-out impostors.
"""
import sys

import numpy as np

FEATURES, RIDGE, SUPPORT, LEAST, TAIL = 19, 1e-4, 16, -4.2, 0.02
OWN, OWN_BARE, RECORD = 0, 1, 2  # as in observe.c
KINDS = {  # of pairs, by origin; those of our prints with records never teach: see TAUGHT_BY
    'own': ((OWN, OWN),), 'own, bare': ((OWN, OWN_BARE),), 'bare': ((OWN_BARE, OWN_BARE),),
    'records': ((RECORD, RECORD),), 'own, record': ((OWN, RECORD), (RECORD, OWN)),
    'bare, record': ((OWN_BARE, RECORD), (RECORD, OWN_BARE))}
CALIBRATED_ON = (('own', 'records'), ('own, bare', 'records'), ('bare', 'records'))
KNOTS = np.array([0.5, 0.2, 0.07, TAIL])  # false-match rates between which dB is linear in log-odds


def load(path):
    r = np.fromfile(path, np.float32).reshape(-1, 9 + FEATURES).astype(float)
    return {'who': r[:, :6].astype(int), 'x': r[:, 6:6 + FEATURES], 'aligned': r[:, -3] > 0,
            'origin': r[:, -2:].astype(int), 'bare': (r[:, -2:] != OWN).sum(1),
            'mated': r[:, 1] == r[:, 4], 'set': r[:, 0]}


def join(parts):
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def take(d, k):
    return {n: v[k] for n, v in d.items()}


def kind(d, *names):
    """Which pairs are of these kinds."""
    pairs = [o for n in names for o in KINDS[n]]
    return np.isin(d['origin'] @ (3, 1), [3 * a + b for a, b in pairs])


# Whom the two regressions learn from. Never from our prints against records: the sets' records were
# made from stretched pictures, which two records have in common.
TAUGHT_BY = (('own', 'own, bare', 'bare', 'records'), ('bare', 'records'))


def logistic(x, y):
    mean, sd = x.mean(0), x.std(0) + 1e-9
    z = np.c_[(x - mean) / sd, np.ones(len(x))]
    weight = np.where(y, 1 / y.sum(), 1 / (~y).sum())
    ridge = np.eye(z.shape[1]) * RIDGE * weight.sum()
    ridge[-1, -1] = 0
    w = np.zeros(z.shape[1])
    for _ in range(30):
        p = 1 / (1 + np.exp(-z @ w))
        w -= np.linalg.solve((z * (weight * p * (1 - p))[:, None]).T @ z + ridge,
                             z.T @ (weight * (p - y)) + ridge @ w)
    return w[:-1] / sd, w[-1] - (w[:-1] / sd * mean).sum()


class Model:
    def __init__(self, teach, plain):
        others = take(plain, ~plain['mated'])
        self.w, self.b, self.gate, self.at, self.slope = [], [], [], [], []
        for names in TAUGHT_BY:
            t = take(teach, kind(teach, *names) & teach['aligned'])
            w, b = logistic(t['x'], t['mated'])
            aligned = others['x'][kind(others, *names) & others['aligned']]
            self.w.append(w)
            self.b.append(b)
            self.gate.append(np.quantile(aligned @ w + b, 0.02))
        for names in CALIBRATED_ON:
            odds = self.odds(take(others, kind(others, *names)), len(self.at) == 2)
            at = np.quantile(odds, 1 - KNOTS)
            self.at.append(at)
            self.slope.append(10 / np.log(10) / (odds[odds > at[-1]] - at[-1]).mean())

    def odds(self, d, k):
        """Pairs without an alignment go on below the least of the aligned, by their support."""
        low = self.gate[k] + d['x'][:, SUPPORT] - LEAST
        return np.where(d['aligned'], d['x'] @ self.w[k] + self.b[k], low)

    def calibrate(self, z, at, slope):
        db = -10 * np.log10(KNOTS)
        first = (db[1] - db[0]) / (at[1] - at[0])
        s = np.interp(z, at, db)
        s = np.where(z < at[0], db[0] * np.exp((z - at[0]) * first / db[0]), s)
        return np.where(z > at[-1], db[-1] + (z - at[-1]) * slope, s)

    def score(self, d):
        s = np.zeros(len(d['set']))
        for bare in range(3):
            k = d['bare'] == bare
            s[k] = self.calibrate(self.odds(take(d, k), bare == 2), self.at[bare], self.slope[bare])
        return s


def eer(mated, other):
    t = np.unique(np.r_[mated, other])
    fnm = np.searchsorted(np.sort(mated), t) / len(mated)
    fm = 1 - np.searchsorted(np.sort(other), t) / len(other)
    k = np.argmax(fnm >= fm)
    return 50 * min(fnm[k] + fm[k], fnm[k - 1] + fm[k - 1])


def fnmr(mated, other, rate):
    return 100 * np.mean(mated <= np.sort(other)[::-1][int(rate * len(other))])


def report(name, d, s):
    m, first = d['mated'], (d['who'][:, 2] == 1) & (d['who'][:, 5] == 1)
    fvc = [eer(s[m & (d['set'] == k)], s[~m & first & (d['set'] == k)]) for k in np.unique(d['set'])]
    print(f'{name}: FVC EER {np.mean(fvc):.2f} ({", ".join(f"{e:.2f}" for e in fvc)}); all pairs of '
          f'a set, {m.sum()} mated and {(~m).sum()} others: EER {eer(s[m], s[~m]):.2f}, FMR1000 '
          f'{fnmr(s[m], s[~m], 1e-3):.2f}, ZeroFMR {fnmr(s[m], s[~m], 0):.2f}; '
          f'no alignment tried: {100 * np.mean(~d["aligned"][m]):.2f} % of mated, '
          f'{100 * np.mean(~d["aligned"][~m]):.1f} % of others')
    for db in (10, 20, 25, 30, 35):
        sets = ' '.join(str(np.sum(s[~m & (d['set'] == k)] >= db)) for k in np.unique(d['set']))
        print(f'    others scoring {db} dB or more: {np.sum(s[~m] >= db)} (by set {sets}; '
              f'{np.sum(s[~m] >= db) / (~m).sum():.2e}, meant {10 ** (-db / 10):.2e})')


def write(path, m):
    def number(v):
        return f'{v:.6g}' + ('' if '.' in f'{v:.6g}' or 'e' in f'{v:.6g}' else '.0') + 'f'

    def row(values):
        lines = [', '.join(map(number, values[k:k + 6])) for k in range(0, len(values), 6)]
        return '{' + ',\n     '.join(lines) + '}'

    def array(name, values):
        return f'static const float {name}[{len(values)}] = {row(values)};\n'

    def table(name, rows):
        return (f'static const float {name}[{len(rows)}][{len(rows[0])}] = {{\n    ' +
                ',\n    '.join(map(row, rows)) + '};\n')
    with open(path, 'w') as f:
        f.write('/* Generated by afis/train/model.py; see afis/train/README.md. */\n'
                '/* clang-format off */\n')
        f.write('/* Log-odds, where a side knows the quality of its minutiae and where none does: of each\n'
                ' * feature, and the constant. */\n')
        f.write(table('model_weight', m.w) + array('model_bias', m.b))
        f.write('/* Log-odds given to a pair whose support just fails to call for an alignment. */\n')
        f.write(array('model_unaligned', m.gate))
        f.write('/* The calibration, for pairs of which 0, 1 or 2 sides lack the quality of minutiae:\n'
                ' * log-odds and the dB they are worth; beyond, dB per log-odds. */\n')
        f.write(table('calibration_odds', m.at) + array('calibration_db', -10 * np.log10(KNOTS)))
        f.write(array('calibration_slope', m.slope))


def main():
    args = sys.argv[2:]
    k = args.index('+') if '+' in args else len(args)
    plain = [load(p) for p in args[:k]]
    all_plain, teach = join(plain), join(plain + [load(p) for p in args[k + 1:]])
    held = np.zeros(len(all_plain['set']))
    for s in np.unique(all_plain['set']):
        out = all_plain['set'] == s
        model = Model(take(teach, teach['set'] != s), take(all_plain, ~out))
        held[out] = model.score(take(all_plain, out))
    for name in KINDS:
        k = kind(all_plain, name)
        if k.any():
            report(name, take(all_plain, k), held[k])
    write(sys.argv[1], Model(teach, all_plain))


main()
