"""The student: a policy that observes frames and joints, or the state."""

from Models.student.bundle import load_student, save_student
from Models.student.config import StudentConfig
from Models.student.policy import StudentPolicy

__all__ = ["StudentConfig", "StudentPolicy", "load_student", "save_student"]
