"""Out-of-sample probabilities by fine-tuning once per fold."""

import numpy as np
import pytest
from conftest import make_data, make_model, make_trainer
from sklearn.metrics import roc_auc_score

from textpl.label_issues.find import find_label_issues
from textpl.out_of_fold import out_of_fold_probabilities


@pytest.mark.parametrize("task", ["single", "multi"])
def test_every_row_is_predicted_by_a_model_that_did_not_see_it(tokenizer, tmp_path, task):
    data = make_data(tokenizer, rows=240, task=task)
    groups = np.arange(240) // 2
    seen = []

    def trainer(rows):
        seen.append(rows["text"][:])
        return make_trainer(tmp_path, tokenizer, task=task, data=rows, max_steps=90, per_device_train_batch_size=16)

    p = out_of_fold_probabilities(trainer, data, groups=groups, folds=3)
    assert p.shape == (240, 3) and p.dtype == np.float32
    if task == "single":
        np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    labels = np.asarray(data["label"][:])
    positive = labels == 2 if task == "single" else labels[:, 2] == 1
    assert roc_auc_score(positive, p[:, 2]) > 0.6
    # 120 groups of two rows in three folds: every training holds 160 rows, whole groups.
    assert [len(texts) for texts in seen] == [160, 160, 160]
    report = find_label_issues(labels=labels.astype(int), pred_probs=p, encoder=None)
    assert report.p_error.shape == labels.shape


def test_a_model_that_comes_back_is_refused(tokenizer, tmp_path):
    model = make_model()
    with pytest.raises(ValueError, match="same model twice"):
        out_of_fold_probabilities(
            lambda rows: make_trainer(tmp_path, tokenizer, data=rows, model=model),
            make_data(tokenizer, rows=20),
            folds=2,
        )
