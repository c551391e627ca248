"""Types, enumerations and `Gym`; names and attributes from [stubs].

Numbers of enumerations are [stubs] for `ContactCollection`, else [assumed]. Defaults are [assumed] where nothing else
is said: the worker sets those that count.
"""

import enum
import sys

if "torch" in sys.modules:  # [issue isaac-sim/IsaacGymEnvs 175]
    raise ImportError(
        "PyTorch was imported before isaacgym modules.  Please import torch after isaacgym modules."
    )


class _Record:
    """Attributes with defaults; an unknown one is refused, as compiled classes (pybind11) do [assumed]."""

    _defaults = {}

    def __init__(self):
        for name, value in self._defaults.items():
            object.__setattr__(self, name, value() if callable(value) else value)

    def __setattr__(self, name, value):
        if name not in self._defaults:
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        default = self._defaults[name]
        kind = default if isinstance(default, type) else type(default)
        if kind in (int, float) and isinstance(value, (int, float)) and not isinstance(value, enum.Enum):
            value = kind(value)
        elif kind is bool and not isinstance(value, bool):
            raise TypeError(f"{type(self).__name__}.{name}: got {type(value).__name__}, wanted bool")
        elif not isinstance(value, kind):  # pybind11 converts nothing else [assumed]
            raise TypeError(
                f"{type(self).__name__}.{name}: got {type(value).__name__}, wanted {kind.__name__}"
            )
        object.__setattr__(self, name, value)


class Vec3:
    def __init__(self, x=0.0, y=0.0, z=0.0):
        self.x, self.y, self.z = float(x), float(y), float(z)


class Quat:
    def __init__(self, x=0.0, y=0.0, z=0.0, w=1.0):
        self.x, self.y, self.z, self.w = float(x), float(y), float(z), float(w)


class Transform:
    def __init__(self, p=None, r=None):
        self.p, self.r = p or Vec3(), r or Quat()


class Mat33:
    """Rows [assumed]; an inertia is symmetric, so columns would do."""

    def __init__(self):
        self.x, self.y, self.z = Vec3(), Vec3(), Vec3()


class SimType(enum.IntEnum):
    SIM_PHYSX = 0
    SIM_FLEX = 1


class UpAxis(enum.IntEnum):
    UP_AXIS_Y = 0
    UP_AXIS_Z = 1


class DofDriveMode(enum.IntEnum):
    DOF_MODE_NONE = 0
    DOF_MODE_POS = 1
    DOF_MODE_VEL = 2
    DOF_MODE_EFFORT = 3


class ContactCollection(enum.IntEnum):
    CC_NEVER = 0
    CC_LAST_SUBSTEP = 1
    CC_ALL_SUBSTEPS = 2


class IndexDomain(enum.IntEnum):
    DOMAIN_ACTOR = 0
    DOMAIN_ENV = 1
    DOMAIN_SIM = 2


class TensorDataType(enum.IntEnum):
    """There is no signed 32-bit type [stubs]: int32 indices go as UINT32 [assumed]."""

    DTYPE_FLOAT32 = 1
    DTYPE_UINT32 = 2
    DTYPE_UINT64 = 3
    DTYPE_UINT8 = 4
    DTYPE_INT16 = 5


for _kind in (SimType, UpAxis, DofDriveMode, ContactCollection, IndexDomain, TensorDataType):
    globals().update(_kind.__members__)


class PhysXParams(_Record):
    _defaults = {
        "bounce_threshold_velocity": 0.2,
        "contact_collection": ContactCollection.CC_ALL_SUBSTEPS,  # default [stubs]; an int is refused [assumed]
        "contact_offset": 0.02,
        "default_buffer_size_multiplier": 2.0,
        "max_depenetration_velocity": 100.0,
        "max_gpu_contact_pairs": 1024 * 1024,
        "num_position_iterations": 4,
        "num_subscenes": 0,
        "num_threads": 0,
        "num_velocity_iterations": 1,
        "rest_offset": 0.001,
        "solver_type": 1,
        "use_gpu": False,
    }


class SimParams(_Record):
    _defaults = {
        "dt": 0.01,
        "gravity": lambda: Vec3(0.0, -9.8, 0.0),
        "num_client_threads": 0,
        "physx": PhysXParams,
        "substeps": 2,
        "up_axis": UpAxis.UP_AXIS_Y,
        "use_gpu_pipeline": False,
    }

    def __setattr__(self, name, value):
        if name == "gravity" and isinstance(value, Vec3):
            object.__setattr__(self, name, value)
        else:
            _Record.__setattr__(self, name, value)


class PlaneParams(_Record):
    _defaults = {
        "distance": 0.0, "dynamic_friction": 1.0, "normal": Vec3, "restitution": 0.0, "segmentation_id": 0,
        "static_friction": 1.0,
    }  # fmt: skip


class TriangleMeshParams(_Record):
    _defaults = {
        "dynamic_friction": 1.0, "nb_triangles": 0, "nb_vertices": 0, "restitution": 0.0, "segmentation_id": 0,
        "static_friction": 1.0, "transform": Transform,
    }  # fmt: skip


class AssetOptions(_Record):
    _defaults = {
        "angular_damping": 0.5,  # [docs]: not zero
        "armature": 0.0,
        "collapse_fixed_joints": False,
        "default_dof_drive_mode": 0,
        "density": 1000.0,
        "disable_gravity": False,
        "enable_gyroscopic_forces": True,
        "fix_base_link": False,
        "flip_visual_attachments": False,
        "linear_damping": 0.0,
        "max_angular_velocity": 64.0,
        "max_linear_velocity": 1000.0,
        "override_com": False,
        "override_inertia": False,
        "replace_cylinder_with_capsule": False,
        "thickness": 0.02,
        "use_mesh_materials": False,
        "vhacd_enabled": False,
    }


class RigidBodyProperties:
    def __init__(self):
        self.com, self.flags, self.inertia, self.invInertia = Vec3(), 0, Mat33(), Mat33()
        self.mass = self.invMass = 1.0


class RigidShapeProperties(_Record):
    _defaults = {
        "compliance": 0.0, "contact_offset": 0.02, "filter": 0, "friction": 1.0, "rest_offset": 0.0,
        "restitution": 0.0, "rolling_friction": 0.0, "thickness": 0.0, "torsion_friction": 0.0,
    }  # fmt: skip


class IndexRange:
    def __init__(self, start=0, count=0):
        self.start, self.count = start, count


class Tensor(_Record):
    """Describes memory that it does not own, if told so [stubs]; that Python may set its attributes: [assumed]."""

    _defaults = {
        "data_address": 0,
        "device": -1,
        "dtype": TensorDataType.DTYPE_FLOAT32,
        "own_data": False,
        "shape": tuple,
    }

    @property
    def ndim(self):
        return len(self.shape)


from isaacgym._gym import Gym  # noqa: E402  (needs the types)


def acquire_gym():
    """The one `Gym` of the process."""
    return _GYM


_GYM = Gym()
